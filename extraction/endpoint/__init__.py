"""The `openai` provider: anything that speaks the OpenAI API, reached by base URL."""
