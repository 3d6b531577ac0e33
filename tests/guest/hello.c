/* The smallest test: output, and an exit status. */
#include <stdio.h>

int main(void)
{
    puts("Hello, world!");
    return 0;
}
