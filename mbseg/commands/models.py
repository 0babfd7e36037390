"""`mbseg models`."""

from mbseg.errors import ConfigError
from mbseg.output import AsJson, print_json


def models(backbone: str | None = None, /, *, markdown: bool = False, json: AsJson = False) -> None:
    """List what there is to build with: backbones, feature maps, heads, weights, published scores.

    Parameters
    ----------
    backbone
        All about this one alone, for example mobilenet_v2 or timm:mobilenetv4_conv_small.
    markdown
        Print Markdown: docs/models.md.
    """
    if markdown and json:
        raise ConfigError("--markdown and --json are two forms of the same; ask for one")
    from mbseg.catalogue import as_tree, catalogue_of, whole_catalogue
    from mbseg.catalogue_text import as_markdown, as_text

    catalogue = whole_catalogue() if backbone is None else catalogue_of(backbone)
    if json:
        print_json(as_tree(catalogue))
    else:
        print(as_markdown(catalogue) if markdown else as_text(catalogue))
