// Before anything is drawn, so that nothing flashes.
(() => {
  try {
    const kept = localStorage.getItem("pocketbench-theme");
    if (kept) document.documentElement.dataset.theme = kept;
  } catch { /* no storage for files here: the system's theme it is */ }
})();
