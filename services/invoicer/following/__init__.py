"""What happens to an invoice after it was sent: paid, overdue, void, credited.

`standing` and `signatures` decide and are pure; the other modules do I/O.
"""
