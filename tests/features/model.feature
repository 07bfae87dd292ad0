Feature: Model loading
  A model's weights are loaded once, counted to the byte, and given back when the model is dropped.

  Scenario: A valid model file
    Given a CudaContext and valid model path
    When I load the model
    Then the model should be loaded to VRAM
    And VRAM usage should be reported

  Scenario: A second load costs its own memory, and dropping gives it back
    Given a loaded model
    When I load the model again and drop it
    Then VRAM usage should be as before
    And the first model should still give tokens

  Scenario Outline: A file that is no model
    Given a file that is <kind>
    When I load the model
    Then I should receive CudaError::ModelLoadFailed
    And error message should be descriptive

    Examples:
      | kind                    |
      | missing                 |
      | empty                   |
      | text                    |
      | cut in half             |
      | a directory             |
