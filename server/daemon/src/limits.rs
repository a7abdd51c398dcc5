//! Every limit of the server that the protocol does not set, with its reason.

use std::time::Duration;

/// Connections at once, unless the configuration says otherwise: the thousand that are asked for, with room for a reconnect storm.
pub(crate) const CONNECTIONS: usize = 12_000;

/// Connections beyond these that are told so before they are closed; further ones are closed without a word. A moment each, since their reply
/// has to arrive.
pub(crate) const TURNED_AWAY_MAX: usize = 128;

/// Descriptors that are no connections: those that are turned away, files of the index, epoll; and
/// the database once for each reader, twice while one generation takes the place of another.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 128 + 256;

/// What the system may hold for a client that does not read, of which it makes twice as much. Its own bound is four megabytes for each connection, which
/// no budget of ours would see.
pub(crate) const SEND_BUFFER_BYTES: usize = 128 << 10;

/// What `stats` tells of latencies and memory may be so old: gathering it takes some ten microseconds, in which the worker answers nobody.
pub(crate) const STATS_KEPT: Duration = Duration::from_millis(100);

/// Connections that the kernel holds until they are accepted.
pub(crate) const BACKLOG: i32 = 4096;

/// Stack of a coroutine in words of eight bytes: 128 KiB of address space, of which only touched pages cost memory. SQLite's row fetch and a
/// line of the deepest JSON pass a test on half of it.
pub(crate) const STACK_WORDS: usize = 0x4000;

/// Stacks of connections that ended, kept for the next ones: each has some pages that were touched, and those of a wave should not stay.
pub(crate) const STACKS_KEPT: usize = 16;

/// Bytes that a session reads at once. Some four hundred questions: their answers take about a millisecond, for which the other
/// sessions of the worker wait.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// Bytes of replies that wait to be written, after which a connection's lines are left unread.
pub(crate) const OUT_BYTES_MAX: usize = 256 * 1024;

/// Bytes that a connection holds, lines and replies together, above which it is not read from; and of replies that its client does not take, above
/// which its dear questions wait. Five pages of a thousand rows.
pub(crate) const CONNECTION_BYTES_MAX: usize = 1 << 20;

/// Bytes held for all connections together, above which dear questions are `overloaded` and [`STALL_SHORT`] holds. A thousand connections may
/// each hold a quarter of what one may.
pub(crate) const HELD_BYTES_MAX: usize = 256 << 20;

/// Bytes of a line that is not whole, beyond which no more of it is read while the server holds more than [`HELD_BYTES_MAX`]; and that are read at
/// once then. Every question of a person is shorter, and all connections together hold less than half of that bound in such lines.
pub(crate) const HALF_LINE_BYTES_TIGHT: usize = 4 * 1024;

/// What most replies have: room for one is made before it is known.
pub(crate) const REPLY_BYTES_ABOUT: usize = 256;

/// Room for a reply or a line that a quiet connection keeps; more is given back.
pub(crate) const KEPT_BYTES: usize = 1024;

/// Reads in a row after which a session lets the others of its worker go first.
pub(crate) const ROUNDS_BEFORE_YIELD: usize = 4;

/// Bytes of replies that a session writes in a row before it lets the others of its worker go first.
pub(crate) const BYTES_BEFORE_YIELD: usize = 1 << 20;

/// Bytes that a page fetched in the session itself may have; a longer one is thrown away and goes to the queue. Fifty rows of a registry have
/// five to ten thousand.
pub(crate) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Rows of a page that is answered in the session itself, or goes into the lane of short questions: what `limit` is without a word, and a person reads. With its
/// pages in memory it takes some twenty microseconds, a hand-over to another thread and back takes as long.
pub(crate) const SHORT_ROWS_MAX: usize = 50;

/// Of these, where rows are not read from the database's pages: each is a question to SQLite, 1 to 7 µs.
pub(crate) const SQLITE_ROWS_MAX: usize = 8;

/// Rows that a session fetches of the lines of one read; what is beyond goes into the lane of short questions. A client that asks for many pages at once
/// is answered by other threads, and the others of the worker wait for some four pages of it. Single rows do not count.
pub(crate) const ROWS_A_READ_MAX: usize = 4 * SHORT_ROWS_MAX;

/// Threads of the lane of single rows, and of that of short questions, at least: mostly they wait for the disk, which answers several at once.
pub(crate) const WAITING_THREADS_MIN: usize = 4;

/// Threads of the lane of searches, at least: one that takes no batches, and one that does.
pub(crate) const SEARCH_THREADS_MIN: usize = 2;

/// An answer that took longer may have waited for the disk. With all of its pages in memory the longest takes less, unless the system took the core away.
pub(crate) const SLOW_ANSWER: Duration = Duration::from_micros(100);

/// After something that was asked for had to be fetched from the disk, rows are looked for in memory before they are read. Long enough that the price of finding out,
/// one wait in a session, is paid once a second.
pub(crate) const COLD_FOR: Duration = Duration::from_secs(1);

/// Questions that wait for a query thread, in each lane. At 1000 rows a page the last of them waits a second or two.
pub(crate) const QUEUE_MAX: usize = 1024;

/// Of these, those of one connection; its others wait until these are answered. So whoever asks one question waits behind four of each greedy one at
/// most, and a greedy one finds its questions answered as they come, not `overloaded`. Four keep two threads busy while replies go out.
pub(crate) const QUEUE_SHARE_MAX: usize = 4;

/// The same of searches: one of them takes hundreds of times as long as it takes to put the next one in its place, so that a second one in the queue keeps
/// a second thread busy and a third one nobody.
pub(crate) const SEARCH_SHARE_MAX: usize = 2;

/// Verifications a minute of one connection, unless the configuration says otherwise: one a second is faster than a desk, and going through all valid CPFs at
/// that rate takes thirty years.
pub(crate) const VERIFIES_PER_MINUTE: u32 = 60;

/// What an `overloaded` client is told to wait.
pub(crate) const RETRY_AFTER_MS: u32 = 250;

/// From the first byte of a line to its end.
pub(crate) const LINE_DEADLINE: Duration = Duration::from_secs(10);

/// Without a byte taken by the client while replies wait.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(15);

/// The same, and for the rest of a line of more than [`HALF_LINE_BYTES_TIGHT`], while the server holds more than [`HELD_BYTES_MAX`]: others need the
/// room.
pub(crate) const STALL_SHORT: Duration = Duration::from_secs(2);

/// A connection that owes nothing and says nothing, unless the configuration says otherwise: far above any pause at a desk, and short enough that what
/// was forgotten open over night does not add up.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);

/// For the client to read the last reply of a connection that the server closes.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Between two looks at the deadlines: they are kept to within so much.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// From the signal to the end of the process, what is in hand answered or not. The contract says five seconds.
pub(crate) const STOP_WITHIN: Duration = Duration::from_millis(4500);

/// Of the threads that answer long questions, and of those that search; all others have 0. Fourteen steps are about a twentieth of the weight: so
/// much of their cores CPFs lose at most. Nineteen would leave them a third of that, and one search behind those of sixteen greedy clients would not come to
/// its turn within its two seconds.
pub(crate) const DEAR_NICENESS: i32 = 14;

/// Answers a second, of all threads, from which on the sessions count as busy: some seventh of what a core answers. Searches rest then.
pub(crate) const BUSY_ANSWERS_PER_SECOND: f64 = 10_000.0;

/// Processor time behind which a search rests: short, so that it never holds a core for long.
pub(crate) const SEARCH_STRETCH: Duration = Duration::from_millis(1);

/// How many times as long as it worked a search rests: each of their threads has a ninth of a core at most then. A search of ten milliseconds takes ninety, well within
/// its two seconds also behind some others.
pub(crate) const REST_TIMES: u32 = 8;

/// A rest at most, however long the work before it was: a small part of the two seconds, so that a search whose time is over, or whose client is gone, soon sees it.
pub(crate) const REST_MAX: Duration = Duration::from_millis(100);

/// Bytes of one block of memory from which on it is asked of the system and given back to it at once: most replies of dear questions. The
/// allocator would raise its own bound with the first of them that is freed, and keep the following ones.
pub(crate) const OWN_BLOCK_BYTES_MIN: i32 = 128 * 1024;

/// Held bytes that were given back, after which the allocator is asked to give its free pages back too.
pub(crate) const TRIM_BYTES: usize = 16 << 20;

/// What an open connection takes beside what it holds, roughly: its stack, its buffers, its places in the lists. Many that close are a wave too.
pub(crate) const CONNECTION_BYTES_ABOUT: usize = 16 << 10;

/// Sweeps after that until it is asked once more: what was being answered has ended by then.
pub(crate) const TRIM_AGAIN_SWEEPS: u32 = 20;

/// Between two looks at `CURRENT` and the database: so long may an answer come from what is there no more.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After which a generation that was refused is read again though nothing changed: a disk may have recovered.
pub(crate) const RETRY_EVERY: Duration = Duration::from_secs(60);

/// How often a database that changes while it is opened is opened again at once: a rename is over by then, a copy into its place is not.
pub(crate) const OPEN_TRIES: usize = 5;

/// Between two such tries.
pub(crate) const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// Before a thread that died begins anew.
pub(crate) const THREAD_PAUSE: Duration = Duration::from_millis(10);

/// Between two lines of the log about something that fails again and again.
pub(crate) const WARN_EVERY: Duration = Duration::from_secs(10);

/// After an accept that failed for want of descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
