module uwsgi

go 1.19
