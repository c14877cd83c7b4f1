"""Reports for people: a pure document model that every form is written from."""
