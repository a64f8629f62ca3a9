"""The rules that every region follows, pure: the row contract and the row order."""
