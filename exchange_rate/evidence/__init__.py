"""What a study or a table of points has measured, read and checked: tracked runs, the fields of `study.json`, what is missing of it."""
