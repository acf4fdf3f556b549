//! FTL's own agent, as far as it is a matter of values.
//!
//! Owns what its model is told and may call, what a call means inside a sandbox, how a file's text is replaced,
//! what of a long conversation is kept, and when enough was used. A model's calls are untrusted: each becomes a
//! program for the sandbox or a sentence that says why not. Must not know connections, processes or clocks.
//!
//! Reading order: [`prompt`] begins a conversation; [`tool`] reads a call; [`edit`] and [`output`] are what
//! becomes of files and output; [`compact`] and [`limit`] bound the whole.

pub mod compact;
pub mod edit;
pub mod limit;
pub mod output;
pub mod prompt;
pub mod tool;
