"""What runs a program: an interpreter in NumPy and native code through LLVM."""
