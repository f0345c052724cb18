"""What runner and builder are made of: finding, running, normalising, checking and exporting notebooks."""

import sys

# jsonschema, imported for every notebook, would first build the grammar of web addresses, which takes a second; no
# notebook's schema asks for it, and jsonschema goes without where it is missing.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
