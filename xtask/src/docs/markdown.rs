//! The command blocks of a Markdown file.

use std::fs;

use anyhow::{Context, Result, bail};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::workspace::root;

/// The language of a block of commands.
const COMMANDS: &str = "sh";
/// Other names of it: one is enough.
const ALIASES: [&str; 5] = ["bash", "shell", "console", "zsh", "shell-session"];
const NOT_RUN: &str = "<!-- not run:";

/// A file with its command blocks.
pub(super) struct Document {
    /// From the repository's root.
    pub(super) path: String,
    pub(super) blocks: Vec<Block>,
}

/// Commands between two fences.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where its first command stands, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// Why it is not run, if it is not.
    pub(super) not_run: Option<String>,
}

impl Document {
    /// Reads a file of the repository.
    ///
    /// # Errors
    /// If it cannot be read, or has a fence without a language or with another word for `sh`.
    pub(super) fn read(path: &str) -> Result<Self> {
        let text = fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))?;
        let blocks = blocks(&text).with_context(|| path.to_owned())?;
        Ok(Self { path: path.to_owned(), blocks })
    }

    /// The commands that are run, on the lines where the document has them; all other lines are empty.
    pub(super) fn script(&self) -> String {
        let mut lines: Vec<&str> = Vec::new();
        for block in self.blocks.iter().filter(|block| block.not_run.is_none()) {
            lines.resize(block.line - 1, "");
            lines.extend(block.text.lines());
        }
        lines.join("\n") + "\n"
    }
}

fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut reason: Option<String> = None;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let fence = text[..range.start].matches('\n').count() + 1;
        match event {
            Event::Html(html) => {
                let marked = html.trim().strip_prefix(NOT_RUN).and_then(|rest| rest.strip_suffix("-->"));
                match marked.map(str::trim) {
                    Some("") => bail!("line {fence}: say why the block is not run"),
                    Some(why) => reason = Some(why.to_owned()),
                    None => {}
                }
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => match language.trim() {
                "" => bail!("line {fence}: a fence needs a language; `{COMMANDS}` for commands, `text` for none"),
                word if ALIASES.contains(&word) => bail!("line {fence}: commands are `{COMMANDS}` here, not `{word}`"),
                COMMANDS => {
                    open = Some(Block { line: fence + 1, text: String::new(), not_run: reason.take() });
                }
                _ => {}
            },
            Event::Text(more) => {
                if let Some(block) = &mut open {
                    block.text += &more;
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            // The mark counts for the block right after it.
            Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
            _ if open.is_none() => {
                if let Some(reason) = reason.take() {
                    bail!("line {fence}: no block of commands follows the mark `{NOT_RUN} {reason} -->`");
                }
            }
            _ => {}
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\n\n```sh\none\ntwo # three\n```\n\nText `sh`.\n\n<!-- not run: needs a phone -->\n```sh\nfour\n```\n\n\
                        ```toml\na = 1\n```\n\n- item\n\n  ```sh\n  five\n  ```\n";

    #[test]
    fn blocks_have_their_lines_and_their_marks() {
        let blocks = blocks(TEXT).unwrap();
        let block = |line, text: &str, not_run: Option<&str>| Block {
            line,
            text: text.to_owned(),
            not_run: not_run.map(str::to_owned),
        };
        let expected = [
            block(4, "one\ntwo # three\n", None),
            block(12, "four\n", Some("needs a phone")),
            block(22, "five\n", None),
        ];
        assert_eq!(blocks, expected);
    }

    #[test]
    fn a_script_has_the_document_s_line_numbers() {
        let script = Document { path: "x.md".into(), blocks: blocks(TEXT).unwrap() }.script();
        let lines: Vec<&str> = script.lines().collect();
        assert_eq!((lines[3], lines[4], lines[21], lines.len()), ("one", "two # three", "five", 22));
        assert!(!script.contains("four"));
    }

    #[test]
    fn fences_that_nobody_would_run_are_refused() {
        for (text, problem) in [
            ("```\nls\n```\n", "needs a language"),
            ("```bash\nls\n```\n", "not `bash`"),
            ("<!-- not run: -->\n```sh\nls\n```\n", "say why"),
            ("<!-- not run: no reason -->\n\nText.\n\n```sh\nls\n```\n", "no block of commands follows"),
        ] {
            let error = blocks(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
