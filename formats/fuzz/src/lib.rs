//! The bodies of the fuzz targets: each takes any bytes and panics where the product breaks its word.
//!
//! What is compared against here is written a second time, plainly, by the pages of `docs/`; nothing of it serves a question. `cargo fuzz`
//! runs the bodies through the shell in `formats/fuzz/fuzz` (`make fuzz`), and `make test` runs every committed corpus file through them.

mod record;
mod vocabulary;

mod cursor;
mod json;
mod reply;
mod request;

mod forge;
mod index;
mod scratch;
mod search;
mod source;
mod table;

pub use cursor::cursor;
pub use forge::{damaged_generation, damaged_search, manifest};
pub use index::{cpf_reader, name_reader, rowids, words};
pub use record::{cpf, name};
pub use reply::{client_reply, reply};
pub use request::request;
pub use search::{word_index, word_lists};
pub use source::source;
pub use table::{pages_of, table_pages, table_rows};

/// A target's body.
pub type Body = fn(&[u8]);

/// Every target by its name, in the order in which `make fuzz` runs them.
pub const TARGETS: [(&str, Body); 18] = [
    ("request", request),
    ("reply", reply),
    ("client_reply", client_reply),
    ("cpf", cpf),
    ("name", name),
    ("cursor", cursor),
    ("manifest", manifest),
    ("cpf_reader", cpf_reader),
    ("name_reader", name_reader),
    ("rowids", rowids),
    ("words", words),
    ("word_index", word_index),
    ("word_lists", word_lists),
    ("damaged_generation", damaged_generation),
    ("damaged_search", damaged_search),
    ("source", source),
    ("table_rows", table_rows),
    ("table_pages", table_pages),
];
