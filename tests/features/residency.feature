Feature: Residency
  Weights stay where they were put, and that is proven on request.

  Scenario: A loaded model is resident
    Given a loaded model
    When I check its residency
    Then the model should be resident

  Scenario: It stays resident while it works
    Given a loaded model
    When I check its residency after every token of an inference
    Then the model should be resident

  Scenario: Process memory covers the model
    Given a loaded model
    When I ask for the process's memory use
    Then it should be at least the model's
