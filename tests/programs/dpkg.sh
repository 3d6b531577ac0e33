# packages: dpkg apt
mkdir -p pkg/DEBIAN pkg/opt/thing; echo content >pkg/opt/thing/file
printf 'Package: thing\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: a thing\n' >pkg/DEBIAN/control
printf '#!/bin/sh\necho configured $1\n' >pkg/DEBIAN/postinst; chmod 755 pkg/DEBIAN/postinst
dpkg-deb --root-owner-group -b pkg thing.deb >/dev/null && dpkg-deb -c thing.deb | awk '{ print $1, $6 }'; dpkg-deb -f thing.deb Version
# In a tree of its own: natively nothing of the host may change.
mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/lib/dpkg/triggers; touch root/var/lib/dpkg/status root/var/lib/dpkg/available
dpkg --root=root --force-script-chrootless --force-not-root -i thing.deb 2>&1 | grep -v Reading | tail -n 3; cat root/opt/thing/file; dpkg --root=root -l thing | tail -n 1 | awk '{ print $1, $2, $3 }'
dpkg --root=root --force-script-chrootless -r thing >/dev/null 2>&1; ls root/opt 2>/dev/null | wc -l
apt-cache policy dpkg | head -n 1; apt-config dump | grep -c .; dpkg -s dpkg | grep ^Status; dpkg -L dpkg | head -n 3; dpkg --verify dpkg; echo $?
