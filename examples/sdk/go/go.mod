module jobico.dev/jobicolet

go 1.21
