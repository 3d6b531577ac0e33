# packages: gcc g++ clang make
cat >a.c <<'P'
#include <stdio.h>
int main(void) { return puts("built") < 0; }
P
cat >a.cc <<'P'
#include <iostream>
#include <stdexcept>
#include <thread>
#include <vector>
int main()
{
    std::vector<std::thread> threads; int sum = 0;
    for (int i = 0; i < 4; i++) threads.emplace_back([&, i] { __sync_fetch_and_add(&sum, i); });
    for (auto &t : threads) t.join();
    try { throw std::runtime_error("thrown"); } catch (const std::exception &e) { std::cout << e.what() << ' ' << sum << '\n'; }
}
P
for cc in gcc clang; do for how in '' -static -static-pie '-O2 -flto'; do $cc $how a.c -o a && ./a; done; done
for cxx in g++ clang++; do for how in '' -static -static-pie; do $cxx -O1 $how a.cc -o b -pthread && ./b; done; done
gcc -g -fsanitize=address,undefined a.c -o c && ASAN_OPTIONS=detect_leaks=0 ./c
for i in $(seq 10); do echo "int f$i(int x) { return x * $i; }" >f$i.c; done
{ for i in $(seq 10); do echo "int f$i(int);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'
  for i in $(seq 10); do echo "s += f$i(1);"; done; echo 'printf("%d\n", s); return 0; }'; } >main.c
printf 'OBJ = %s main.o\nprog: $(OBJ)\n\t$(CC) -o $@ $(OBJ)\nlib: $(OBJ)\n\t$(AR) rcs lib.a $(OBJ)\n' "$(for i in $(seq 10); do printf 'f%d.o ' $i; done)" >Makefile
make -s -j4 && ./prog && make -s lib && ar t lib.a | wc -l && nm prog | grep -c ' T f' && objdump -d prog | grep -c '<f1>:' && strip prog && ./prog
gcc -shared -fPIC f1.c -o libf.so && cat >dl.c <<'P' && gcc dl.c -o dl && ./dl
#include <dlfcn.h>
#include <stdio.h>
int main(void) { int (*f)(int) = (int (*)(int))dlsym(dlopen("./libf.so", RTLD_NOW), "f1"); printf("%d\n", f(5)); return 0; }
P
