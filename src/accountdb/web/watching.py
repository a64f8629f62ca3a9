"""What is known of the regions now: read in the background, so that nobody who asks waits for a dead one."""
