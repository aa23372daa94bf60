module go-chat

go 1.19

require uwsgi v0.0.0

// In a project of your own: the folder that "python -m uwsgi_ws go-module" has written.
replace uwsgi => ../../uwsgi_ws/companions/go
