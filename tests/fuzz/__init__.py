"""What reads bytes that anybody can send, one target a reader: fuzzed by `make fuzz`, and fed with
damaged examples in the tests of properties."""
