# packages: vim tmux
vim -u NONE -es -c 'normal ihello world' -c 'normal yyp' -c '%s/hello/bye/' -c 'wq x' ; cat x
vim -u NONE -es -c 'set undofile undodir=. | normal dd' -c wq x; cat x; ls -A | sort
export TMUX_TMPDIR=$PWD
tmux -f /dev/null new-session -d -s s -x 80 -y 24 'echo in tmux; exec cat'; for i in $(seq 50); do tmux capture-pane -p -t s | grep -q 'in tmux' && break; sleep 0.1; done
tmux send-keys -t s typed Enter; for i in $(seq 50); do [ "$(tmux capture-pane -p -t s | grep -c typed)" = 2 ] && break; sleep 0.1; done
tmux capture-pane -p -t s | head -n 3; tmux split-window -t s cat; tmux list-panes -t s | wc -l; tmux kill-server; echo $?
