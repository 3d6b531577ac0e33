# packages: git
export HOME=$PWD GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_PAGER=cat
git config --global user.email a@b.c; git config --global user.name n; git config --global init.defaultBranch main
git init -q r; cd r; for i in 1 2 3; do seq $((i * 100)) >f$i; git add .; git commit -q -m "c$i"; done; git log --oneline --stat
git checkout -q -b side HEAD~1; echo x >side; git add side; git commit -q -m side; git checkout -q main; git merge -q -m merged side; git log --oneline
sed -i 5d f1; git diff; git stash -q; git stash pop -q; git status --short; git checkout f1; git rebase -q HEAD~1 side; git branch -v
cd ..; git clone -q r c; cd c; ls; git gc -q; git fsck; git count-objects; git repack -adq; git worktree add -q ../w main~1 && ls ../w
git bundle create -q ../b main && git bundle verify -q ../b; git archive HEAD | tar -t; git grep -n '^77$' | head -n 3; git blame -s f1 | head -n 2
