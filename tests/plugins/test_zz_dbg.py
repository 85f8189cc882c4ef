import sys
import pytest, numpy as np, dataclasses
sys.path.insert(0,"/work/main/tests/plugins")
from test_zz_o import *
import benchmark_onnx._int8 as I
from onnxruntime.quantization import QDQQuantizer, QuantType
def test_x(conv_net, digits, tmp_path):
    f=benchmark_onnx.fold(conv_net); tr,va=digits
    a=run(f,va.x,tmp_path)
    x=np.ascontiguousarray(tr.x[np.sort(np.random.default_rng(0).choice(len(tr),256,replace=False))])
    for w in arrays(f): print(w.shape, np.abs(w).max(), np.abs(w).mean())
    r=I._ranges(f,x,1)
    print({k:(v.lowest,v.highest) for k,v in r.items()})
    for rr in (True,False):
        q=QDQQuantizer(f if False else onnx.ModelProto.FromString(f.SerializeToString()),per_channel=True,reduce_range=rr,weight_qType=QuantType.QInt8,activation_qType=QuantType.QUInt8,tensors_range=r,nodes_to_quantize=[],nodes_to_exclude=[],op_types_to_quantize=I._INTEGER,extra_options={"OpTypesToExcludeOutputQuantization":["Gemm","MatMul"]})
        q.quantize_model(); q.model.topological_sort(); m=benchmark_onnx.strip(q.model.model)
        b=run(m,va.x,tmp_path); print(rr,(a.argmax(1)==va.y).mean(),(b.argmax(1)==va.y).mean(),(a.argmax(1)!=b.argmax(1)).mean(),np.sqrt(((a-b)**2).mean()),a.std())
