"""What a price would be: quotes, and every plan beside the others; priced as the rater prices."""
