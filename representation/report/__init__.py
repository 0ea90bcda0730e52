"""What was measured, for people: tables, pictures, sheets of what is found."""
