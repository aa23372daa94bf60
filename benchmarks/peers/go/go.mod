module peer

go 1.19

require uwsgi v0.0.0

replace uwsgi => ../../../uwsgi_ws/companions/go
