"""The template backend of unimodel."""
