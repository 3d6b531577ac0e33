#include "base/sort.h"

/* Heap order below `at`: no parent is less than its children. */
static void sift_down(uint32_t *numbers, size_t at, size_t count)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        uint32_t number = numbers[at];

        if (child + 1 < count && numbers[child] < numbers[child + 1])
            child++;
        if (number >= numbers[child])
            return;
        numbers[at] = numbers[child];
        numbers[child] = number;
    }
}

/* Heapsort: no memory, no bad case. */
void sort_u32(uint32_t *numbers, size_t count)
{
    for (size_t i = count / 2; i-- > 0;)
        sift_down(numbers, i, count);
    for (size_t last = count; last-- > 1;) {
        uint32_t greatest = numbers[0];

        numbers[0] = numbers[last];
        numbers[last] = greatest;
        sift_down(numbers, 0, last);
    }
}
