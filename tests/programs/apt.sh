# packages: apt dpkg
# Local packages, one of which depends on the other, from a repository in a folder, into a tree of its own: natively nothing of the host may change.
mkdir -p pkg/DEBIAN pkg/opt/thing; echo content >pkg/opt/thing/file
printf 'Package: thing\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: a thing\n' >pkg/DEBIAN/control
printf '#!/bin/sh\necho $DPKG_MAINTSCRIPT_NAME of $DPKG_MAINTSCRIPT_PACKAGE $1\n' | tee pkg/DEBIAN/postinst >pkg/DEBIAN/prerm; chmod 755 pkg/DEBIAN/p*
build() { dpkg-deb --root-owner-group -b pkg repo/$1.deb >/dev/null; { dpkg-deb -f repo/$1.deb; printf 'Filename: ./%s.deb\nSize: %d\nSHA256: %s\n\n' $1 "$(stat -c %s repo/$1.deb)" "$(sha256sum <repo/$1.deb | cut -d' ' -f1)"; } >>repo/Packages; }
mkdir repo; build thing; sed -i 's/thing/other/; s/^Desc/Depends: thing (>= 1.0)\nDesc/' pkg/DEBIAN/control; mv pkg/opt/thing pkg/opt/other; build other
mkdir -p root/var/lib/dpkg/{info,updates,triggers} root/etc/apt/{apt.conf.d,preferences.d} root/var/{lib/apt/lists,cache/apt/archives}/partial root/var/log/apt
touch root/var/lib/dpkg/{status,available}; echo "deb [trusted=yes] file:$PWD/repo ./" >root/etc/apt/sources.list
get() { apt-get -q -y -o Dir=$PWD/root -o Dir::State::status=$PWD/root/var/lib/dpkg/status -o APT::Sandbox::User=root -o DPkg::Options::=--root=$PWD/root -o DPkg::Options::=--force-script-chrootless -o DPkg::Options::=--force-not-root "$@" 2>&1 | grep -E '^(Setting|Unpacking|Removing|post|pre|E:|[0-9]+ up)'; echo "status ${PIPESTATUS[0]}"; }
get update; get install other; cat root/opt/*/file; dpkg --root=root -l | grep -c ^ii
sed -i "s/^Version.*/Version: 2.0/" pkg/DEBIAN/control; build other; get update; get upgrade; get install missing
sed -i "s/^Version.*/Version: 3.0/" pkg/DEBIAN/control; build other; echo flaw >>repo/other.deb; get update; get install other # which apt must refuse
get purge thing; find root/opt 2>/dev/null | wc -l; dpkg --root=root -l | grep -c ^ii
