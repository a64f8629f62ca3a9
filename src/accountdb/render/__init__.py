"""How results are shown: tables on a terminal, plain lines in a pipe, JSON where asked."""
