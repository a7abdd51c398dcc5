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
