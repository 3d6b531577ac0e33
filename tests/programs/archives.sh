# packages: tar gzip bzip2 xz-utils zstd cpio
mkdir -p d/sub; for i in $(seq 40); do head -c $((i * 777)) /dev/zero | tr '\0' "$((i % 10))" >d/$i; done; ln -s 1 d/link; ln d/1 d/hard; mkfifo d/fifo
chmod 600 d/2; touch -d @1000000 d/3
for z in gzip bzip2 xz zstd; do tar -c --$z -f a.$z d; mkdir o.$z; tar -xpf a.$z -C o.$z; (cd o.$z; find d -printf '%p %m %s %y %l %n\n' | sort | md5sum); stat -c %Y o.$z/d/3; done
find d -type f | sort | cpio -o --quiet >c.cpio; mkdir o.cpio; (cd o.cpio; cpio -id --quiet <../c.cpio; find . -type f | wc -l)
tar -cf s.tar --sort=name --sparse d; tar -tvf s.tar | awk '{ print $1, $3 }' | md5sum; xz -T2 -k d/40; xz -dc d/40.xz | cmp - d/40; zstd -q -T2 d/39 -o z; zstd -dcq z | cmp - d/39
tar -cf - d | tar -xf - -C o.cpio --strip-components=1 --exclude=fifo; ls o.cpio | wc -l; gzip -k d/5; zcat d/5.gz | wc -c
