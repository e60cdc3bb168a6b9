"""Study: is another training mixture than the test mixture better, and by how much?"""
