//! Every limit of the protocol, in one place. `hello` tells those that a client must keep to.

/// Bytes of a request line before its `\n`. Enough for a batch of a thousand CPFs; small enough to hold one for each connection.
pub const LINE_BYTES_MAX: usize = 65_536;

/// Nesting of a request: arrays and objects, the request itself included. A request of ours has three levels.
pub const DEPTH_MAX: usize = 64;

/// The largest integer `id`, and the smallest negated: what a double holds exactly, since many JSON readers have nothing else.
pub const ID_INTEGER_MAX: i64 = 1 << 53;

/// Bytes of a text `id`: room for a UUID, not for a payload.
pub const ID_TEXT_BYTES_MAX: usize = 64;

/// Rows of a page when the request names no `limit`.
pub const LIMIT_DEFAULT: usize = 50;

/// Rows of a page at most.
pub const LIMIT_MAX: usize = 1000;

/// Bytes of a cursor at most, so that a longer text is refused before it is decoded.
pub const CURSOR_BYTES_MAX: usize = 512;

/// Items of a batch at most.
pub const BATCH_ITEMS_MAX: usize = 1000;

/// Rows of all items of a batch together at most: about a megabyte of reply.
pub const BATCH_ROWS_MAX: usize = 10_000;

/// Bytes of a reply at most, so that rows with huge columns cannot fill the memory; what would be longer is `too_many_rows`.
pub const REPLY_BYTES_MAX: usize = 64 << 20;

/// Requests of one connection that wait for an answer at most; at this number the connection is not read from until there is room.
pub const IN_FLIGHT_MAX: usize = 64;

/// Distinct words of a name that is asked for by `words` or `fuzzy`, or verified. No person has more, and each costs a search.
pub const QUESTION_WORDS_MAX: usize = 16;

/// Letters (Unicode scalars) of each word of a name that is asked for by `fuzzy`, or verified: an automaton grows with them.
pub const FUZZY_LETTERS_MAX: usize = 64;

/// Members of a `where`. There are two columns to filter by; more are room for those to come.
pub const FILTERS_MAX: usize = 4;

/// Milliseconds from the reading of a question's line to `deadline_exceeded` where it names no `deadline_ms`: nobody at a desk waits longer.
pub const DEADLINE_MS_DEFAULT: u32 = 2000;

/// The same of a batch, which has up to a thousand questions.
pub const DEADLINE_MS_BATCH: u32 = 10_000;

/// The longest `deadline_ms`.
pub const DEADLINE_MS_MAX: u32 = 60_000;

/// Postings that are touched to count an answer, and to look for a page of it. About ten milliseconds of work: a word of four million names is as good as no word.
pub const POSTINGS_MAX: u64 = 4_194_304;
