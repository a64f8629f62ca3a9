"""The demo: two regions written at once, cut, healed and found equal. Its load serves the tests too."""
