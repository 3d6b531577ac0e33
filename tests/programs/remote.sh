# packages: rsync openssh-server openssh-client
# again: --network=host
mkdir -p k src/a/b; ssh-keygen -q -t ed25519 -N '' -f k/host; ssh-keygen -q -t rsa -b 2048 -N '' -f k/user; cp k/user.pub k/authorized; chmod 600 k/*; chmod 755 . k
printf 'Port 17030\nListenAddress 127.0.0.1\nHostKey %s/k/host\nAuthorizedKeysFile %s/k/authorized\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n' $PWD $PWD >k/config
mkdir -p /run/sshd; /usr/sbin/sshd -D -e -f k/config 2>log & S=$!
remote="-i k/user -p 17030 -o StrictHostKeyChecking=no -o UserKnownHostsFile=k/known -o LogLevel=ERROR"
for i in $(seq 100); do ssh $remote root@127.0.0.1 true && break; sleep 0.1; done 2>/dev/null
ssh $remote root@127.0.0.1 'echo remote; exit 5'; echo $?
ssh -tt $remote root@127.0.0.1 'tty | cut -c1-8; stty size' </dev/null | tr -d '\r'
seq 100000 | ssh $remote root@127.0.0.1 sha256sum
seq 5000 >src/n; ln -s n src/l; seq 9 >src/a/b/m; chmod 640 src/n; touch -d @100 src/n
rsync -aH src/ dst/; rsync -ai src/ dst/; find dst -printf '%P %m %s %y %l\n' | sort; echo more >>src/n; rsync -a --inplace --stats src/ dst/ | grep 'files transferred'
rsync -a -e "ssh $remote" src/ root@127.0.0.1:$PWD/dst2/; find dst2 | sort; rsync -a --delete --link-dest=$PWD/dst src/ dst3/; stat -c %h dst3/a/b/m
printf 'use chroot = no\nport = 17031\naddress = 127.0.0.1\n[m]\npath = %s/src\nuid = root\ngid = root\n' $PWD >r.conf; rsync --daemon --no-detach --config=r.conf & R=$!
for i in $(seq 100); do rsync -a rsync://127.0.0.1:17031/m/ dst4/ 2>/dev/null && break; sleep 0.1; done; find dst4 | sort | md5sum
sftp -q -i k/user -P 17030 -o StrictHostKeyChecking=no -o UserKnownHostsFile=k/known root@127.0.0.1:$PWD/src/n got >/dev/null; cmp src/n got
cd /; scp -q -i $OLDPWD/k/user -P 17030 -o UserKnownHostsFile=$OLDPWD/k/known root@127.0.0.1:$OLDPWD/src/n $OLDPWD/got2; cd - >/dev/null; cmp src/n got2; kill $S $R; wait $S; echo $?; wait $R; echo $?
