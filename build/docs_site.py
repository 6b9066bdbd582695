"""MkDocs hooks: links from a page to a file of the repository.

The pages are read in the repository too, where `../proto/check.sh` leads somewhere. The site has no
such file, so there the link becomes plain text, and a link to a missing file fails the build.
"""

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    docs = Path(config.docs_dir)
    folder = docs / PurePosixPath(page.file.src_uri).parent

    def plain(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(docs):
            return link[0]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri}: {link[2]} does not exist")
        return link[1]

    return LINK.sub(plain, markdown)
