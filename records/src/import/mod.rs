//! A bank's file, CSV or JSON, read row by row into transactions; pure, in memory bounded by the file itself.
