"""What gridgate decides, remembers and answers for."""
