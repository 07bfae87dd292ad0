Feature: Error handling
  Every failure is a value: a code with a stable number, and a sentence that says what was wrong.

  Scenario Outline: An invalid device
    Given an invalid device ID <device>
    When I create a CudaContext
    Then I should receive CudaError::InvalidDevice
    And error message should be descriptive

    Examples:
      | device      |
      | 9999        |
      | -2          |
      | 2147483647  |
      | -2147483648 |

  Scenario Outline: A bad request
    Given a loaded model
    When I start inference with <request>
    Then I should receive CudaError::InvalidParameter
    And error message should be descriptive
    And the model should still give tokens

    Examples:
      | request                |
      | no tokens allowed      |
      | temperature below zero |
      | temperature above two  |
      | temperature NaN        |
      | a prompt with NUL      |

  Scenario: A model path with NUL
    Given a CudaContext and a model path with NUL
    When I load the model
    Then I should receive CudaError::InvalidParameter
    And error message should be descriptive
