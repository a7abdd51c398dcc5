//! Lines as spreadsheets write them, and what they ask.
