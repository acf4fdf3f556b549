module example.org/conf

go 1.19
