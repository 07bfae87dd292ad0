module libworker.example/haiku

go 1.19
