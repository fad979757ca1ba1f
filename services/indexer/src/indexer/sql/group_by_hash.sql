-- For this transaction: many rows in few groups are not sorted first. The planner, which cannot know that a function of
-- a column has few values, would sort millions of rows on disk.
SET LOCAL enable_sort = off;
