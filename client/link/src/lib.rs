//! Blocking client of the desk's protocol, version 1: connect, ask, page, batch, and many questions in flight on one connection.
//!
//! It prints nothing, starts no thread beyond the resolver's, and opens no second connection: who wants several has several [`Client`]s.
//! Everything that arrives is input: it is bounded in bytes, in values and in time before it is believed.
//!
//! ```no_run
//! use balcao_client::{Client, Name, Options};
//!
//! let mut client = Client::connect("127.0.0.1:7700", Options::default())?;
//! let page = client.cpf("123.456.789-09", None)?;
//! for page in client.pages(&balcao_client::by_name("maria da silva", Some(Name::Prefix), Some(1000))) {
//!     println!("{} rows", page?.rows.len());
//! }
//! # Ok::<(), balcao_client::Error>(())
//! ```

mod ahead;
mod answers;
mod client;
mod error;
mod items;
mod limits;
mod page;
mod received;
mod socket;

pub use balcao_wire::client::{Hello, Limits, Question, Reply};

pub use ahead::{Ahead, Arrived};
pub use answers::{Answer, Answers, Cells};
pub use client::{Client, Options};
pub use error::{Error, Refusal};
pub use items::Items;
pub use limits::{IN_FLIGHT_CAP, REPLY_BYTES_MAX, REPLY_VALUES_MAX, RETRY_WAIT_MAX};
pub use page::{Name, Page, Pages, Row, by_cpf, by_name};
pub use received::{Outline, Received};
pub use socket::Stopper;
