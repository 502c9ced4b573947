"""Parts of one's own, each in one file outside of the packages, as CONTRIBUTING.md describes."""
