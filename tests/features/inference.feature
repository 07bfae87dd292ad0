Feature: Inference execution
  Tokens are pulled one by one; their text is whole characters; the same seed gives the same words.

  Scenario: A prompt is continued
    Given a loaded model
    When I start inference with a prompt
    Then I should receive an InferenceResult
    And next_token() should return tokens
    And token indices should count from 0

  Scenario: The token limit holds
    Given a loaded model
    When I start inference for at most 5 tokens
    Then next_token() should return at most 5 tokens and then none

  Scenario: The same seed gives the same words
    Given a loaded model
    When I run inference twice at temperature 0.8 with seed 42
    Then both texts should be equal

  Scenario: Another seed gives other words
    Given a loaded model
    When I run inference at temperature 1.2 with seeds 1 to 8
    Then not all texts should be equal

  Scenario: The shipped model writes haiku
    Given a loaded model
    When I ask for a haiku about "rain"
    Then the text should have three lines
