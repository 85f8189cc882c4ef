/* Reset: turns the floating-point unit on, copies initialised data to RAM, clears the rest, calls main. */
#include <stdint.h>

extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss;
int main(void);
void Reset(void);

__attribute__((section(".vectors"), used)) const void *const vectors[16] = {&_estack, Reset};

void Reset(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm volatile("dsb\n isb");
    for (uint32_t *from = &_sidata, *to = &_sdata; to < &_edata;) *to++ = *from++;
    for (uint32_t *to = &_sbss; to < &_ebss;) *to++ = 0;
    main();
    for (;;) {
    }
}
