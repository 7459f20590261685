"""Program to program: adjoint, tangent, simplification."""
