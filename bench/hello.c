/* The smallest program that prints: for start-up time. With an argument it then waits for the end
 * of its input, so that the sandbox can be looked at while it runs. */
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte;

    if (write(STDOUT_FILENO, "hello\n", 6) != 6)
        return 1;
    while (argc > 1 && read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}
