module libworker.example/conformance

go 1.19

require libworker.example/haiku v0.0.0

replace libworker.example/haiku => ../../../examples/go
